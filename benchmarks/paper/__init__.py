"""Published rows, measured anew: `make paper`, or one row of it with `make paper ROW=...`."""
