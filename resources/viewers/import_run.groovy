// Puts the outlines of the run @RUN@, and its tiles if they were exported, into the images of this project.
// In QuPath: Automate > Project scripts > import_@RUN@, then in the editor Run > Run for project.
// What was imported before, and perhaps corrected, is left alone.
import static qupath.lib.scripting.QP.*

def entry = getProjectEntry()
def folder = buildFilePath(PROJECT_BASE_DIR, '..', entry.getOriginalImageName())
def known = getAnnotationObjects().any {
    it.getMetadata()['drunet_run'] == '@RUN@' || it.getMetadata()['drunet_parent'] == '@RUN@'
}
def outlines = new File(folder, 'segmentation.geojson')
def tiles = new File(folder, 'tiles.geojson.gz')
if (!known && outlines.exists())
    importObjectsFromFile(outlines.getPath())
if (!getDetectionObjects().any { it.isTile() } && tiles.exists())
    importObjectsFromFile(tiles.getPath())
if (!getCurrentServer().getPixelCalibration().hasPixelSizeMicrons()) {
    def mpp = Double.parseDouble(entry.getMetadata()['mpp'])
    setPixelSizeMicrons(mpp, mpp)
}
