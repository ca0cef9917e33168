"""What people read: lines, tables and pictures made from plain results."""
