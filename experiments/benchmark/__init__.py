"""How fast operators, training steps and detection are, beside other libraries."""
