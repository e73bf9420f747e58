"""The try-on network (paper §3 and Fig. 1): StableVITON's, built from diffusers' parts."""
