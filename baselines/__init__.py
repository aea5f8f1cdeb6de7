"""The methods: one file each, the saliency sampler among them. The folder is the registry."""
