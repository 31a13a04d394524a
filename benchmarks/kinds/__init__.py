"""What people bring, by kind: does it have bounds, do they hold, and how wide are they against what samples reach?"""
