/* The viewer has no public way to set morph weights: its scene is a three.js object behind a symbol. */
function scene() {
  return viewer[Object.getOwnPropertySymbols(viewer).find((symbol) => symbol.description === "scene")];
}

function setWeights(values) {
  scene().traverse((node) => {
    const places = node.morphTargetDictionary;
    for (const [name, value] of Object.entries(values)) {
      if (places && name in places) node.morphTargetInfluences[places[name]] = value;
    }
  });
  scene().queueRender();
}
