"""The microscope as ophyd devices."""
