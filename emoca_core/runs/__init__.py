"""What training leaves behind as a method: run folders, packages made of them, and packages on the Hugging Face hub."""
