"""A saved model as an ONNX graph."""
