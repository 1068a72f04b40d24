"""NumPy files of data sets: landmarks, masks, lists."""

import warnings
from pathlib import Path

import numpy as np
from numpy import ndarray

from emoca_core.errors import EmocaError, first_line
from emoca_core.files import open_regular
from emoca_core.limits import TABLE_BYTES


def read_array(path: Path, refuse: type[EmocaError]) -> ndarray:
    """The array of a NumPy file without Python objects.

    Args:
        path: A ``.npy`` file.
        refuse: The error to raise where there is no such file, or it is another one.
    """
    try:
        with open_regular(path, TABLE_BYTES, refuse) as file:
            if file.read(6) != b"\x93NUMPY":
                raise ValueError("it begins in another way")
            file.seek(0)
            with warnings.catch_warnings():  # NumPy warns of headers that Python 2 wrote
                warnings.simplefilter("ignore")
                return np.asarray(np.load(file, allow_pickle=False))
    except EmocaError:
        raise
    except FileNotFoundError:
        raise refuse(f"{path}: no such file.") from None
    except Exception as error:  # NumPy reads the header as Python, which may fail in any way
        reason = first_line(error)
        raise refuse(f"{path} is not a plain NumPy file: {reason}") from None
