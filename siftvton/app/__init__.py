"""Try-on for one photo at a time: in Python, by command and on a web page."""
