"""SIFT-VTON: virtual try-on whose garment cross-attention is supervised by SIFT matches."""
