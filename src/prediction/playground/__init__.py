"""The playground: a page in the browser on which the CRF's parameters are sliders."""
