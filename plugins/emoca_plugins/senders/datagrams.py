"""UDP to one receiver: nothing waits, and nobody has to listen."""

import socket

from emoca_core.errors import EmocaError


class Datagrams:
    """A socket that sends to one address."""

    def __init__(self, host: str, port: int) -> None:
        """Look the address up and open the socket.

        Raises:
            EmocaError: There is no such host.
        """
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        except (OSError, UnicodeError) as error:
            raise EmocaError(f"no host '{host}': {error}; give the address of the receiving machine") from error
        self._address = address
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)

    def send(self, packet: bytes) -> None:
        """Send one packet; it is lost where the network is gone or full, as any datagram may be."""
        try:
            self._socket.sendto(packet, self._address)
        except OSError:
            return

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
