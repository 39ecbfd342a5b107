def test_x(finished_project):
    import os
    os.system(f"find {finished_project} -type f")
