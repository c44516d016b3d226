"""Adapters to the interfaces of other projects."""
