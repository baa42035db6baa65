-- The pipeline's eight questions, over the cleaned tables pin, geo and user (DuckDB's SQL; Spark's differs in quantile_disc,
-- which is percentile_approx there). The median is the lower one; rows without a follower count are left out of it.

-- 1. The most popular category of each country; ties are all kept.
SELECT country, category, category_count
FROM (
    SELECT country, category, count(*) AS category_count,
           rank() OVER (PARTITION BY country ORDER BY count(*) DESC) AS place
    FROM pin JOIN geo USING (ind)
    GROUP BY country, category
)
WHERE place = 1;

-- 2. The most popular category of each year from 2018 to 2022; of equals the first by name.
SELECT post_year, category, category_count
FROM (
    SELECT year(geo.timestamp) AS post_year, category, count(*) AS category_count,
           row_number() OVER (PARTITION BY year(geo.timestamp) ORDER BY count(*) DESC, category) AS place
    FROM pin JOIN geo USING (ind)
    WHERE year(geo.timestamp) BETWEEN 2018 AND 2022
    GROUP BY year(geo.timestamp), category
)
WHERE place = 1;

-- 3. The user with most followers in each country, the country with the greatest of them first.
SELECT country, poster_name, follower_count
FROM (
    SELECT country, poster_name, max(follower_count) AS follower_count,
           rank() OVER (PARTITION BY country ORDER BY max(follower_count) DESC) AS place
    FROM pin JOIN geo USING (ind)
    WHERE follower_count IS NOT NULL
    GROUP BY country, poster_name
)
WHERE place = 1
ORDER BY follower_count DESC, country, poster_name;

-- 4. The most popular category of each age group; ties are all kept.
SELECT age_group, category, category_count
FROM (
    SELECT age_group, category, count(*) AS category_count,
           rank() OVER (PARTITION BY age_group ORDER BY count(*) DESC) AS place
    FROM pin JOIN (
        SELECT ind, CASE WHEN age BETWEEN 18 AND 24 THEN '18-24' WHEN age BETWEEN 25 AND 35 THEN '25-35'
                         WHEN age BETWEEN 36 AND 50 THEN '36-50' WHEN age > 50 THEN '50+' END AS age_group
        FROM "user"
    ) USING (ind)
    GROUP BY age_group, category
)
WHERE place = 1;

-- 5. The median follower count of each age group.
SELECT CASE WHEN age BETWEEN 18 AND 24 THEN '18-24' WHEN age BETWEEN 25 AND 35 THEN '25-35'
            WHEN age BETWEEN 36 AND 50 THEN '36-50' WHEN age > 50 THEN '50+' END AS age_group,
       quantile_disc(follower_count, 0.5) AS median_follower_count
FROM pin JOIN "user" USING (ind)
GROUP BY age_group;

-- 6. How many users joined in each year from 2015 to 2020.
SELECT year(date_joined) AS post_year, count(*) AS number_users_joined
FROM "user"
WHERE year(date_joined) BETWEEN 2015 AND 2020
GROUP BY post_year;

-- 7. The median follower count of the users of each joining year.
SELECT year(date_joined) AS post_year, quantile_disc(follower_count, 0.5) AS median_follower_count
FROM pin JOIN "user" USING (ind)
GROUP BY post_year;

-- 8. The median follower count of each joining year from 2015 to 2020 and age group.
SELECT CASE WHEN age BETWEEN 18 AND 24 THEN '18-24' WHEN age BETWEEN 25 AND 35 THEN '25-35'
            WHEN age BETWEEN 36 AND 50 THEN '36-50' WHEN age > 50 THEN '50+' END AS age_group,
       year(date_joined) AS post_year, quantile_disc(follower_count, 0.5) AS median_follower_count
FROM pin JOIN "user" USING (ind)
WHERE year(date_joined) BETWEEN 2015 AND 2020
GROUP BY age_group, post_year;
