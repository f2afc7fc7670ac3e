"""Axis-parallel boxes on slices: geometry, and the outline of what lies in one."""
