"""The data plane: decoded events become joined, windowed and summarised, in order, once."""
