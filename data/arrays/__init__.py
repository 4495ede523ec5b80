"""Everything that knows plain arrays: one `.npy`, `.safetensors` or `.pt` file, with named axes."""
