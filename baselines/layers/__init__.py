"""What methods share: networks, saliency to grid, resampling."""
