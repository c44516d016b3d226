"""The ImageBind spaces (Girdhar et al., 2023)."""
