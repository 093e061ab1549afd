"""Drawn people: bodies and poses, their looks, the canvas they are painted on, the scenery."""
