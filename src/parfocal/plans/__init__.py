"""Plans that open runs; `plans.stubs` for what does not."""
