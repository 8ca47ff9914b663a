"""What a run works on: particles, the map, and the poses of all particles."""
