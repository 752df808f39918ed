// How the search of the site orders what it finds: Sphinx's own weights, but notebooks first and the changelog last.
var Scorer = {
  score: ([page, title, anchor, description, score]) =>
    page === "CHANGELOG" ? score - 100 : page.startsWith("notebooks/") ? score + 20 : score,
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
