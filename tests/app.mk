# Tests of this area: programs, data, scripts.
