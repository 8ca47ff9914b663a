"""Many runs of one plan, and how runs compare."""
