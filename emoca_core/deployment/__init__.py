"""Methods outside of torch: networks as ONNX files, and encoders that run from them."""
