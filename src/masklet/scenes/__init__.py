"""Scenes made from nothing but a seed, and scenes composed of cut-outs: exact masks and exhaustive phrases for free.

`scene.render_scene`, `clips.render_clip` and `cutouts.compose_scene` are the ways in. A scene is a layout (layout.py)
of shapes (silhouettes.py, shapes.py, everyday_shapes.py), coloured and lit (paint.py), put on a ground (grounds.py,
canvas.py), photographed (camera.py) and asked about (phrases.py).
"""
