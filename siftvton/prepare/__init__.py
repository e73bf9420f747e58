"""A photo -> what the network needs: joints, parsing, DensePose, masks."""
