"""Training: Eq. 3 over a stream of image draws that no batch size, worker, process or stop changes."""
