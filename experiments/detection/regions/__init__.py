"""Detectors that look at regions: anchors of a pyramid, or proposals."""
