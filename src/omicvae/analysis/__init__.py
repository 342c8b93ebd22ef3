"""Statistics of what a fitted model says of cells: arrays in, frozen results out."""
