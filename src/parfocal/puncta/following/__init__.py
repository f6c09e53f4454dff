"""From localizations to tracks, mobility, calcium and what they have to do with each other: all of it, once."""

from parfocal.puncta.following._follow import Followed, FollowSettings, follow_puncta, follow_read

__all__ = ["FollowSettings", "Followed", "follow_puncta", "follow_read"]
