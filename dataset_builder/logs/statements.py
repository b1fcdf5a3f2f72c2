"""The SQL by which a log's rows are counted; `collect` runs it in this order.

Ids of texts are numbers of rows in which they first stand; `owner` is one id for all spellings of a query, and for all
titles of a product.
"""

ACTIONS = "SELECT action, count(*) FROM log GROUP BY action ORDER BY min(row)"
POSITIONS = "SELECT DISTINCT position FROM log"
LANGUAGES = "SELECT DISTINCT language FROM log"
_OF_KNOWN_ACTIONS = "FROM log SEMI JOIN (FROM actions WHERE number IS NOT NULL) USING (action)"
QUERIES = f"SELECT DISTINCT query {_OF_KNOWN_ACTIONS}"
PRODUCTS = f"SELECT product, product_id, title_en, min(row) {_OF_KNOWN_ACTIONS} GROUP BY ALL"

NUMBER_QUERIES = """
CREATE TABLE queries AS
SELECT *, rowid AS id, min(rowid) OVER (PARTITION BY key) AS owner, min(rowid) OVER (PARTITION BY text) AS spelling
FROM cleaned_queries
"""
NUMBER_PRODUCTS = """
CREATE TABLE products AS
SELECT *, rowid AS id, min(rowid) OVER (PARTITION BY key) AS owner, min(rowid) OVER (PARTITION BY text) AS title
FROM cleaned_products
"""
EVENTS = """
CREATE TABLE events AS
SELECT
    log.row, queries.owner AS query, queries.spelling, products.owner AS product, products.title,
    actions.number AS action, depth AS position, position AS given, code AS language, session, time,
    coalesce(queries.fault, products.fault, if(depth IS NULL, 'position is not a whole number from 1', '')) AS fault
FROM log
JOIN actions USING (action) JOIN positions USING (position) JOIN languages USING (language)
JOIN queries USING (query) JOIN products USING (product, product_id, title_en)
WHERE actions.number IS NOT NULL
"""
FAULTS = "SELECT fault, count(*) FROM events WHERE fault <> '' GROUP BY fault ORDER BY fault"

# A row that repeats an event of the same session and time was logged twice; without either, nobody can know.
DISTINCT = """
CREATE TABLE distinct_events AS
SELECT query, spelling, product, title, action, position, session, arg_min(language, row) AS language
FROM events
WHERE fault = ''
GROUP BY
    query, spelling, product, title, action, position, given, session, time, if(session || time = '', row, NULL)
"""
REPEATS = """
SELECT (SELECT count(*) FROM events WHERE fault = '') - (SELECT count(*) FROM distinct_events)
"""

# Events without a session come from at least n sessions if one of them occurs n times, since a search shows a product
# only once.
SESSIONS = """
CREATE TABLE sessions AS
SELECT query, max(sessions) AS sessions, sum(events)::BIGINT AS events
FROM (
    SELECT query, count(DISTINCT session) AS sessions, count(*) AS events
    FROM distinct_events WHERE session <> '' GROUP BY query
    UNION ALL
    SELECT query, count(*), count(*) FROM distinct_events WHERE session = '' GROUP BY query, product, action
)
GROUP BY query
"""
RARE = "SELECT count(*), coalesce(sum(events), 0)::BIGINT FROM sessions WHERE sessions < {}"
FREQUENT = """
CREATE VIEW frequent AS FROM distinct_events SEMI JOIN (FROM sessions WHERE sessions >= {}) USING (query)
"""

# Of equally common texts the first in order is taken.
SPELLINGS = """
SELECT query, first(text ORDER BY events DESC, text), sum(events)::BIGINT
FROM (SELECT query, spelling AS id, count(*) AS events FROM frequent GROUP BY ALL)
JOIN (SELECT id, text FROM queries) USING (id)
GROUP BY ALL
"""
DECLARED = """
SELECT query, first(language ORDER BY events DESC, language)
FROM (SELECT query, language, count(*) AS events FROM frequent WHERE language <> '' GROUP BY ALL)
GROUP BY ALL
"""
TITLES = """
SELECT product, key, first(title ORDER BY events DESC, title), english
FROM (SELECT product, title AS id, count(*) AS events FROM frequent GROUP BY ALL)
JOIN (SELECT id, text AS title FROM products) USING (id)
JOIN (
    SELECT owner AS product, any_value(key) AS key, coalesce(arg_min(english, row), '') AS english
    FROM products WHERE fault IS NULL GROUP BY owner
) USING (product)
GROUP BY product, key, english
ORDER BY key
"""
COUNTS = "SELECT query, product, action, position, count(*) AS count FROM frequent GROUP BY ALL"
