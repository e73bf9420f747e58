"""The try-on network (paper §3, Fig. 1): StableVITON's network, built from the parts of diffusers."""
