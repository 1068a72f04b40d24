"""From mesh, light and texture to pictures: shading and UV space, shared by all renderers."""
