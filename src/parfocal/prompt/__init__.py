"""IPython and notebooks: how runs show themselves, what TAB offers, bluesky's magics, live tables and plots.

`start_session` sets a prompt up where there is one. In a notebook without a session: `%load_ext parfocal.prompt`.
"""

from parfocal.prompt._live import LiveView, as_live_view, live_view
from parfocal.prompt._set_up import load_ipython_extension, set_up_prompt

__all__ = ["LiveView", "as_live_view", "live_view", "load_ipython_extension", "set_up_prompt"]
