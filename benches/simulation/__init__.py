"""What a map of any size over an object store does, on paper (`paper`) and replayed (`trace`, `layout`, `replay`). See benches/simulate.py."""
