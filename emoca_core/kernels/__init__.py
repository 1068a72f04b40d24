"""What compiled kernels share: the threads that they run on."""
