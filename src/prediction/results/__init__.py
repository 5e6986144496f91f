"""Write what predict finds: the files of each image, and the summaries of all images."""
