// Changes Sphinx's search, whose script runs before: it asks for the score of each result here.
var Scorer = {
  // Of pages that have all words, those that define things come first, and those about the project last.
  score: ([page, , , , score]) => {
    const better = { directives: 3, express: 2, troubleshooting: 2, errors: 1 };
    return score + (page.startsWith("project/") ? -3 : better[page] || 0);
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};

// Sphinx leaves numbers out of a query, but people look for "503".
const parseQuery = Search._parseQuery;
Search._parseQuery = (query) => {
  const parsed = parseQuery(query);
  const [, terms, , highlighted] = parsed;
  for (const number of query.match(/\b\d+\b/g) || []) {
    terms.add(number);
    highlighted.add(number);
  }
  return parsed;
};
