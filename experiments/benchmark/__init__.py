"""Speed of operators, training steps and detection, compared with other libraries."""
