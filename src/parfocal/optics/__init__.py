"""Image formation: pupils, aberrations, samples, camera noise.

Conventions, said once for the whole package: arrays are ``[y, x]``, slowest axis first before them; a pixel's
centre is its integer index; ``z_um`` grows away from the objective.
"""

from parfocal.optics._camera_model import CameraModel

__all__ = ["CameraModel"]
