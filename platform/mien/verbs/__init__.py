"""What `mien` can be told to do: one function a verb, in the module of its kind."""
