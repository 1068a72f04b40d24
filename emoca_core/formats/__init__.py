"""Published files, read by content and without the frameworks that wrote them.

``restricted_pickle``, ``mat``, ``obj`` and ``tf_checkpoint`` read containers; ``content`` tells containers apart;
``flame``, ``bfm``, ``heads`` and ``weights`` say which entries make which model; ``convert`` recognises a file and
turns it into plain arrays; ``add`` keeps them in the asset folder.
"""
