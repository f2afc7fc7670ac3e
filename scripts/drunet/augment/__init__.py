"""What a training sample goes through before the network sees it: orientation, colour, lenses. NumPy, OpenCV."""
