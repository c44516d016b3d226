"""Why a hit is one, as a picture: the region of a picture, the seconds of a sound, the frame of a video, the words."""
