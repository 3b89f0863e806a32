"""Values that flow between the steps: frozen, typed, standard library only, no input or output."""
