"""The wire: generated from proto/srnas/v1/evaluate.proto when the package is built."""
